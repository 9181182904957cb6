"""``edge-ad doctor``: what works on this machine, and how to install what is missing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_line, print_table
from edge_ad.cli.options import JsonOption
from edge_ad.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from edge_ad.gpu_check.report import GpuReport
    from edge_ad.runtime.doctor import SystemReport

__all__ = ["doctor"]

_REPORT = Path("gpu-check.md")


def doctor(
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Check all that needs an NVIDIA GPU, in at most 10 minutes.")
    ] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="With --gpu: bundle to run; by default a small one is trained.")
    ] = None,
    report: Annotated[Path, typer.Option(help="With --gpu: file for the report.")] = _REPORT,
    as_json: JsonOption = False,
) -> None:
    """Show the backends, packages, cameras and devices of this machine, or check its NVIDIA GPU.

    Exits with code 3 when no bundle, or with --gpu no step, can run on this machine, and with 1 when a step fails.
    """
    if gpu:
        _check_gpu(bundle, report, as_json=as_json)
        return
    if bundle is not None or report != _REPORT:
        raise UsageError("--bundle and --report belong to the check of a GPU.", "Add --gpu.")
    from edge_ad.runtime.doctor import examine

    found = examine()
    if as_json:
        print_json({**found.to_dict(), "can_stream": found.can_stream})
    else:
        _print(found)
    if not found.can_stream:
        raise typer.Exit(DeviceError.exit_code)


def _check_gpu(bundle: Path | None, report: Path, *, as_json: bool) -> None:
    from edge_ad.gpu_check.report import report_page
    from edge_ad.gpu_check.run import check_gpu
    from edge_ad.storage import write_file

    _check_report_file(report)  # ten minutes of checks are not to be lost for it
    if bundle is not None:
        from edge_ad.bundle import Bundle

        Bundle.open(bundle)  # a broken one is refused before anything is run
    with tempfile.TemporaryDirectory(prefix="edge-ad-gpu-") as folder:
        found = check_gpu(Path(folder), bundle=bundle, log=note)
    write_file(report, report_page(found).encode())
    if as_json:
        print_json(found.to_dict())
    else:
        _print_gpu(found, report)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _check_report_file(report: Path) -> None:
    if report.is_dir():
        raise UsageError(f"{report} is a folder.", f"Name a file: --report {report / _REPORT}")
    if not (report.parent.is_dir() and os.access(report.parent, os.W_OK)):
        raise UsageError(f"{report} cannot be written: {report.parent} is no folder to write into.", "--report FILE")


def _print_gpu(found: GpuReport, report: Path) -> None:
    print_facts(found.machine)
    for step in found.steps:
        print_line()
        print_line(f"{step.title}: {step.outcome} ({step.seconds:.1f} s)")
        for line in filter(None, (step.why, step.hint)):
            print_line(f"  {line}")
    print_line()
    print_line(f"{found.summary()} The report, to send back: {report}")


def _print(report: SystemReport) -> None:
    print_facts(
        {
            "edge-ad": report.edge_ad,
            "python": report.python,
            "system": report.operating_system,
            "processor": f"{report.processor.name}, {report.cores} cores",
            "instructions": " ".join(report.processor.flags),
            "engine target": report.processor.target,
            "display": "yes" if report.has_display else "none: streams run as with --headless",
        }
    )
    backends = [[status.name, status.available, status.version, status.why] for status in report.backends]
    print_table(["backend", "works", "version", "why"], backends, title="\nBackends")
    packages = [[status.name, status.available, status.version, status.needed_for] for status in report.packages]
    print_table(["package", "works", "version", "needed for"], packages, title="\nPackages")
    if report.cameras:
        rows = [[camera.number, camera.name, camera.problem == "", camera.problem] for camera in report.cameras]
        print_table(["camera", "name", "works", "why"], rows, title="\nCameras of this machine")
    if machine_vision := [*report.basler_cameras, *report.aravis_cameras, *report.genicam_cameras]:
        rows = [[camera.address, camera.name] for camera in machine_vision]
        print_table(["source", "name"], rows, title="\nMachine-vision cameras")
    if not report.cameras:
        print_line()
        print_line("No camera of this machine was found for --camera N; network streams need none.")
    _print_repairs(report)


def _print_repairs(report: SystemReport) -> None:
    commands = [
        *(backend.install_command for backend in report.backends),
        *(package.install_command for package in report.packages),
    ]
    if any(commands):
        print_line()
        print_line("To add what is missing:")
        for command in dict.fromkeys(filter(None, commands)):
            print_line(f"  {command}")
    print_line()
    print_line("A bundle can run here." if report.can_stream else "No bundle can run here yet.")
