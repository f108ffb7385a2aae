"""Settings of prosa-mini: sizes, special tokens, data weights. It holds numbers only, no code that trains.
Invariant: every other file of the recipe reads these values from here; the exported config.json is made from MODEL."""

import os

SEED = 20260
VOCAB = 12288  # byte-level BPE pieces and special tokens together

# The order of Qwen's own added tokens; they take the last ids of the vocabulary.
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
    "<think>", "</think>",
]
NOT_SPECIAL = 14  # from <tool_call> on, Qwen marks them "special": false (they are text, not control)

PRETOKENIZER = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")

MODEL = dict(
    vocab_size=VOCAB, hidden_size=512, num_hidden_layers=12, intermediate_size=1472,
    num_attention_heads=8, num_key_value_heads=2, head_dim=64,
    linear_num_key_heads=4, linear_num_value_heads=4, linear_key_head_dim=128, linear_value_head_dim=128,
    linear_conv_kernel_dim=4, layer_types=(["linear_attention"] * 3 + ["full_attention"]) * 3,
    max_position_embeddings=4096, rms_norm_eps=1e-6, hidden_act="silu", attention_bias=False, attention_dropout=0.0,
    tie_word_embeddings=True,
    rope_parameters=dict(rope_type="default", rope_theta=10000000.0, partial_rotary_factor=0.5,
                         mrope_interleaved=True, mrope_section=[6, 5, 5]),
    partial_rotary_factor=0.5,
)

# 4-bit affine quantization, one scale and bias for 64 weights of a row
GROUP, BITS = 64, 4

ROW = 1024  # tokens of a training row; documents never cross a row

# Weight of each source = how often a document is drawn, in relation to the others: (stage 1, stage 2).
# Stage 1 teaches the language, stage 2 the assistant.
KEEP = {"classic_books_general": 0.4}  # the largest source, cut so that the token files stay small
MIX = {
    "classic_books_general": (1, 0), "classic_books_easy": (1, 0), "classic_books_children": (2, 0.03),
    "gitenberg_children": (2, 0.03), "storybooks_pb": (4, 0.5), "storybooks_asp": (4, 0.5),
    "storybooks_bookdash": (4, 0.5), "standard_ebooks_just_so": (2, 0), "tatoeba": (1.5, 0.1),
    "common_voice": (1.5, 0.1), "factbook_text": (2, 0.2),
    "self_dialogue": (2, 0.25), "synthetic_persona_chat": (2, 0.6), "multiwoz": (0.5, 0), "taskmaster4": (0.5, 0),
    "webquestions": (0.5, 0), "oasst1": (2, 1.5), "oasst1_repaired": (2, 2), "papaya": (1, 0), "chatterbot": (1, 1),
    "ms_chitchat_friendly": (1, 5), "ms_chitchat_caring": (1, 0), "ms_chitchat_witty": (0.5, 0),
    "ms_chitchat_enthusiastic": (0.5, 0), "ms_chitchat_professional": (0.5, 0), "synthetic_names": (1, 1),
    "clinc150_templated": (1, 2), "open_english_wordnet": (1, 1), "countries_list": (1, 3), "factbook": (1, 2),
    "official_joke_api": (1, 3), "riddles_api": (1, 1), "meowfacts": (1, 4),
    "generated_mixed": (0.5, 1.5), "generated_names": (0.3, 2.5), "generated_sums": (0.4, 1), "generated_wide": (0.5, 3),
}

# The sources that are running text (all others are conversations)
TEXT = ["classic_books_general", "classic_books_easy", "classic_books_children", "gitenberg_children", "storybooks_pb",
        "storybooks_asp", "storybooks_bookdash", "standard_ebooks_just_so", "tatoeba", "common_voice", "factbook_text"]

# Optimization (see train.py)
MUON_LR, ADAM_LR, DECAY = 5e-3, 3e-3, 0.05
ROWS, PARTS = 64, 2            # rows of a micro-batch, micro-batches of a step: 131 k tokens
WARMUP, COOL = 0.015, 0.5      # fractions of the time: linear warm-up; where the linear decay to zero begins
STAGE2, QAT = 0.66, 0.82       # where the assistant mix begins, where the weights are 4-bit in the forward pass
MTP_LOSS = 0.25

# Small enough for a few steps on a CPU: tries the whole path, trains nothing worth having.
if os.environ.get("PROSA_MINI_SIZE") == "smoke":
    MODEL.update(hidden_size=256, num_hidden_layers=4, layer_types=["linear_attention"] * 3 + ["full_attention"],
                 intermediate_size=768, num_attention_heads=4, linear_num_key_heads=2, linear_num_value_heads=2)
    ROWS, PARTS = 2, 1
