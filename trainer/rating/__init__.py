"""Blind comparisons by people: questions, the rating page, and scores from the answers."""
