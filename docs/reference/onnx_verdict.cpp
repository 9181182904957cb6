// Prints the verdict of a bundle's graph: onnx_verdict MODEL.onnx PHOTO.bgr THRESHOLD
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include <onnxruntime_cxx_api.h>

int main(int count, char** arguments) {
  if (count != 4) return 2;
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "edge-ad");
  Ort::Session session(env, arguments[1], Ort::SessionOptions{});

  auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  shape[0] = 1;  // one photo, H x W x 3, BGR
  std::ifstream file(arguments[2], std::ios::binary);
  std::vector<uint8_t> photo{std::istreambuf_iterator<char>(file), {}};
  if (photo.size() != static_cast<size_t>(shape[1] * shape[2] * 3)) return 2;

  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto image = Ort::Value::CreateTensor<uint8_t>(memory, photo.data(), photo.size(), shape.data(), shape.size());
  std::array<const char*, 1> inputs{"image"};
  std::array<const char*, 2> outputs{"score", "anomaly_map"};
  auto found = session.Run(Ort::RunOptions{}, inputs.data(), &image, 1, outputs.data(), 2);

  const float score = found[0].GetTensorData<float>()[0];
  const float* map = found[1].GetTensorData<float>();
  bool is_finite = std::isfinite(score);
  for (int64_t pixel = 0; pixel < shape[1] * shape[2]; ++pixel) is_finite = is_finite && std::isfinite(map[pixel]);
  const bool is_ng = !is_finite || score > std::atof(arguments[3]);
  std::printf("%s %.6g\n", is_ng ? "NG" : "OK", score);
}
