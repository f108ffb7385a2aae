// What a name means where prosa was built without downloading.
#include <iostream>

#include <prosa/error.h>
#include <prosa/hub.h>

int main() {
  try {
    prosa::pull("nobody/nothing");
  } catch (const prosa::Error& error) {
    std::cout << to_string(error.code()) << ": " << error.remedy() << "\n";
  }
}
