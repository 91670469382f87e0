"""What models say of answers: a judge's verdict, a choice among several."""
