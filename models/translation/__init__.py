"""Families that turn one picture into another."""
