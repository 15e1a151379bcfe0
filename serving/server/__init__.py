"""Local server with the interface of TensorFlow Serving, for laptops, notebooks and tests; not for production.

python -m serving.server --model_config_file=runs/demo/export/models.config --rest_api_port=8501
"""
