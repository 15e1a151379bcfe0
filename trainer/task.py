"""`python -m trainer.task`, the command of Vertex AI and Colab: trains a model of product pictures. Also `packshot train`."""

from trainer.commands.train import main

if __name__ == "__main__":
    main()
