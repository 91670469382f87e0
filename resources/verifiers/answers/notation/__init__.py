"""From the text of an answer to the expression tree that it spells, in LaTeX or plain."""
