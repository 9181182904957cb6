"""The stand-in for a plan uses all of CUDA that an engine does; on the doubles of both packages."""

import numpy as np

from edge_ad.gpu_check.stand_in import StandInEngine, expected_results, stand_in_frames
from edge_ad.runtime.cuda.device import cuda_driver
from tests.runtime.tensorrt.conftest import Gpu, gpu

__all__ = ["gpu"]

SIZE_HW = (24, 32)


def test_it_copies_batches_and_videos_and_is_captured(gpu: Gpu) -> None:
    frames = stand_in_frames(6, SIZE_HW)
    scores, maps = expected_results(frames)
    with StandInEngine(cuda_driver(), SIZE_HW, repeats=2) as engine:
        for _ in range(3):
            predictions = engine.infer(frames)
            assert [one.score for one in predictions] == scores.tolist()
            np.testing.assert_array_equal(np.stack([one.anomaly_map for one in predictions]), maps)
        singly = [expected_results(frame[None])[0][0] for frame in frames]
        assert [one.score for one in engine.infer_many(frames[:, None])] == singly
        timings = engine.timings()
    assert timings is not None
    assert timings.uses_cuda_graph
    assert np.isfinite(maps).all()
    gpu.cuda.verify()
