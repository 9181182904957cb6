"""A TensorRT that builds nothing: its builder, parser and runtime as doubles of the genuine classes of a version.

Runs in the process that has the bindings of that version.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from tests.tensorrt_contract.spec_double import ModuleDouble, SpecDouble

__all__ = ["PLAN", "BuilderWorld", "install"]

PLAN = b"a plan"
_LISTING = {
    "Layers": [
        {
            "Name": "first",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "unit", "Dimensions": [1, 3, 24, 32], "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [
                {"Name": "features", "Dimensions": [1, 16, 24, 32], "Format/Datatype": "Row major linear FP32"}
            ],
            "ParameterType": "Convolution",
            "Weights": {"Type": "Float", "Count": 432},
            "Metadata": "[ONNX Layer: first]",
        }
    ]
}


class BuilderWorld:
    """The doubles of one build.

    Args:
        trt: Genuine bindings.
        parses: Whether the parser takes the graph.
        dla_cores: How many DLA cores the machine has.

    Attributes:
        network_flags: What the network was created with.
        parser_flags: Names of the flags of the parser.
        config: Double of the configuration.
        profile: Double of the optimisation profile.
    """

    def __init__(self, trt: Any, *, parses: bool = True, dla_cores: int = 2) -> None:
        self.trt, self.parses, self.dla_cores = trt, parses, dla_cores
        self.network_flags = 0
        self.parser_flags: list[str] = []
        self.config = self._double(
            "IBuilderConfig",
            add_optimization_profile=lambda profile: 0,
            set_memory_pool_limit=lambda pool, pool_size: None,
            set_flag=lambda flag: None,
            clear_flag=lambda flag: None,
            create_timing_cache=lambda content: self._double("ITimingCache", serialize=lambda: b"timings"),
            set_timing_cache=lambda cache, ignore_mismatch: True,
            get_timing_cache=lambda: self._double("ITimingCache", serialize=lambda: b"timings"),
        )
        self.profile = self._double("IOptimizationProfile", set_shape=lambda name, low, best, high: None)

    def module(self) -> ModuleDouble:
        """The module to import as ``tensorrt``."""
        makers = {"Builder": self._builder, "OnnxParser": self._parser, "Runtime": self._runtime}
        return ModuleDouble(self.trt, makers)

    def flags(self) -> list[str]:
        """Builder flags that were set."""
        return [arguments[0].name for name, arguments, _ in self.config.calls if name == "set_flag"]

    def network_kind(self) -> list[str]:
        """Flags that the network was created with."""
        kinds = self.trt.NetworkDefinitionCreationFlag.__members__
        return [name for name, kind in kinds.items() if self.network_flags >> int(kind) & 1]

    def _double(self, name: str, /, **behaviour: Any) -> SpecDouble:
        return SpecDouble(getattr(self.trt, name), self.trt.__version__, behaviour)

    def _builder(self, logger: Any) -> SpecDouble:
        assert isinstance(logger, self.trt.ILogger)
        return self._double(
            "Builder",
            num_DLA_cores=self.dla_cores,
            create_network=self._network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=lambda: self.profile,
            build_serialized_network=lambda network, config: PLAN,
        )

    def _network(self, flags: int = 0) -> SpecDouble:
        self.network_flags = flags
        image = self._double("ITensor", name="image", shape=(-1, 24, 32, 3))
        outputs = [self._double("ITensor", name=name) for name in ("score", "anomaly_map")]
        return self._double(
            "INetworkDefinition",
            num_inputs=1,
            num_outputs=2,
            get_input=[image].__getitem__,
            get_output=outputs.__getitem__,
        )

    def _parser(self, network: SpecDouble, logger: Any) -> SpecDouble:
        genuine = self.trt.ParserError
        answers = {"desc": "no such operator", "node": 3, "node_name": "head", "node_operator": "Foo"}
        error = {name: (lambda value=value: value) for name, value in answers.items() if hasattr(genuine, name)}
        return self._double(
            "OnnxParser",
            set_flag=lambda flag: self.parser_flags.append(flag.name),
            parse_from_file=lambda path: self.parses,
            num_errors=1,
            get_error=lambda index: self._double("ParserError", **error),
        )

    def _runtime(self, logger: Any) -> SpecDouble:
        inspector = self._double("EngineInspector", get_engine_information=lambda format: json.dumps(_LISTING))
        engine = self._double("ICudaEngine", create_engine_inspector=lambda: inspector)
        return self._double("Runtime", deserialize_cuda_engine=lambda plan: engine)


def install(**options: Any) -> BuilderWorld:
    """Let ``import tensorrt`` give the doubles."""
    world = BuilderWorld(importlib.import_module("tensorrt_bindings"), **options)
    sys.modules["tensorrt"] = world.module()
    return world
