// What errors become for clients: a status, a field of their own request, and nothing about the server's machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/refusal.h"

namespace prosa::server {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ServerRefusal, NamesTheFieldAsTheClientKnowsIt) {
  const Refusal refusal = refusal_of(Error(ErrorCode::invalid_argument, "is 2", "SamplingConfig.top_p", "Say less."));
  EXPECT_EQ(refusal.status, 400);
  EXPECT_EQ(refusal.field, "top_p");
  EXPECT_STREQ(refusal.what(), "top_p: is 2. Say less.");
}

TEST(ServerRefusal, DoesNotSayWhereTheServersFilesLie) {
  const Error error(ErrorCode::bad_template, "no user query", "/srv/models/mini/chat_template.jinja, line 79");
  const Refusal refusal = refusal_of(error);
  EXPECT_EQ(refusal.status, 400);
  EXPECT_EQ(refusal.field, "") << "it is no field of the request";
  EXPECT_STREQ(refusal.what(), "chat_template.jinja, line 79: no user query");
  for (const Dialect dialect : {Dialect::openai, Dialect::ollama, Dialect::anthropic}) {
    EXPECT_THAT(refusal_text(dialect, refusal, "req-1"), Not(HasSubstr("srv")));
  }
  EXPECT_EQ(refusal_of(Error(ErrorCode::unsupported, "no", "schema/properties/a")).field, "schema/properties/a");
}

}  // namespace
}  // namespace prosa::server
