# prosa_server: HTTP in front of Chats. Boost is used by two files alone, and by headers only: nothing to link.
file(GLOB server_sources CONFIGURE_DEPENDS server/*.cpp)
prosa_library(prosa_server ${server_sources})
set_target_properties(prosa_server PROPERTIES UNITY_BUILD OFF)  # Boost's headers stay in their two files
target_link_libraries(prosa_server PUBLIC prosa_core PRIVATE fmt::fmt $<BUILD_INTERFACE:prosa_plain_options> $<BUILD_INTERFACE:Boost::headers>)
target_compile_definitions(prosa_server PRIVATE BOOST_ASIO_NO_DEPRECATED PROSA_VERSION="${PROJECT_VERSION}")
