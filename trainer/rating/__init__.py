"""Blind comparisons by people: which questions are asked, the page that asks them, and what the answers say."""
