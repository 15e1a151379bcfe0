"""Families that make a picture better."""
