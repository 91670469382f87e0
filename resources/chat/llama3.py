"""The layout of Llama 3 with contents trimmed: the template of the bundled parents.

Once it was the only one, and nothing but a version number of it stood in the identity of requests
and in checkpoints. That number and its place are kept, so that completions paid for stay paid and
checkpoints in people's homes stay readable.

Source: Llama 3 model card; arXiv 2505.00949 §3 (toggle).
"""

BEGIN_OF_TEXT = "<|begin_of_text|>"
START_HEADER = "<|start_header_id|>"
END_HEADER = "<|end_header_id|>"
END_OF_TURN = "<|eot_id|>"
SPECIAL_TOKENS = (BEGIN_OF_TEXT, START_HEADER, END_HEADER, END_OF_TURN)

CHAT_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
TEMPLATE_VERSION = "883132a374bcd835"
