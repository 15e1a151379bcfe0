"""`python -m trainer.task`: trains a model of product pictures. What Vertex AI and Colab run; also `packshot train`."""

from trainer.commands.train import main

if __name__ == "__main__":
    main()
