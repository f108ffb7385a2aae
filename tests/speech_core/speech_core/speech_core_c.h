// A stand-in for SpeechCore's C header (see interfaces.h beside it): the table of a language model.
#pragma once

#include <stddef.h>

typedef enum { SC_ROLE_SYSTEM = 0, SC_ROLE_USER = 1, SC_ROLE_ASSISTANT = 2, SC_ROLE_TOOL = 3 } sc_role_t;
typedef struct {
  sc_role_t role;
  const char* content;
} sc_message_t;
typedef void (*sc_llm_token_fn)(const char* token, bool is_final, void* context);
typedef struct {
  void* context;
  void (*chat)(void* ctx, const sc_message_t* messages, size_t count, sc_llm_token_fn on_token, void* token_ctx);
  void (*cancel)(void* ctx);
  int (*count_tokens)(void* ctx, const char* text);
} sc_llm_vtable_t;
