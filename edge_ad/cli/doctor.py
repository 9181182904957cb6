"""``edge-ad doctor``: what works on this machine, and how to install what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from edge_ad.cli.console import print_facts, print_json, print_line, print_table
from edge_ad.cli.options import JsonOption
from edge_ad.errors import DeviceError

if TYPE_CHECKING:
    from edge_ad.runtime.doctor import SystemReport

__all__ = ["doctor"]


def doctor(as_json: JsonOption = False) -> None:
    """Show the backends, packages, cameras and devices of this machine.

    Exits with code 3 when no bundle can run on this machine.
    """
    from edge_ad.runtime.doctor import examine

    report = examine()
    if as_json:
        print_json({**report.to_dict(), "can_stream": report.can_stream})
    else:
        _print(report)
    if not report.can_stream:
        raise typer.Exit(DeviceError.exit_code)


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
