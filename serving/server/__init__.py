"""A local server that is TensorFlow Serving to its clients: for laptops, notebooks and tests. Production runs the real one.

python -m serving.server --model_config_file=runs/demo/export/models.config --rest_api_port=8501
"""
