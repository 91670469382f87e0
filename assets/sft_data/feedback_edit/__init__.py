"""Feedback-Edit: feedback on drafts, edits by it, a choice, and what is gained, as rows."""
