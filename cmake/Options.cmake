# The flags of every prosa target, as the interface target prosa_options.
#
# -ffp-contract=off: a product and a sum are fused only where the code says so, so that a kernel's bits do not depend
# on how the compiler unrolled it.
add_library(prosa_options INTERFACE)
target_compile_options(prosa_options INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(prosa_options INTERFACE -Wno-restrict)  # GCC 12 warns of std::string's own code (PR 105329)
endif()
if(PROSA_WERROR)
  target_compile_options(prosa_options INTERFACE -Werror)
endif()
if(PROSA_SANITIZE)
  target_compile_options(prosa_options INTERFACE -fsanitize=${PROSA_SANITIZE} -fno-sanitize-recover=all
                                                 -fno-omit-frame-pointer)
  target_link_options(prosa_options INTERFACE -fsanitize=${PROSA_SANITIZE})
endif()
