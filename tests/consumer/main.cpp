// A user's program: links the installed library and handles its error.
#include <iostream>

#include <prosa/chat.h>

int main() {
  try {
    prosa::Chat::from_pretrained("./no-such-folder");
  } catch (const prosa::Error& error) {
    std::cout << prosa::to_string(error.code()) << "\n";
  }
}
