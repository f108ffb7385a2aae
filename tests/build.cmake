# Tests of what surrounds the code: the order of its folders, an installed prosa, and prosa as a part of another project.
add_test(NAME Architecture.FoldersKeepTheirOrder
         COMMAND ${PROSA_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/architecture_test.sh ${PROJECT_SOURCE_DIR})

if(NOT CMAKE_CROSSCOMPILING AND NOT PROSA_SANITIZE)
  if(PROSA_INSTALL AND PROSA_BUILD_PROGRAM)
    add_test(NAME Install.ConsumerBuildsAndRuns
             COMMAND ${PROSA_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/install_test.sh ${PROJECT_BINARY_DIR})
  endif()
  add_test(NAME Subproject.TouchesNothingOfItsParent
           COMMAND ${PROSA_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/subproject_test.sh ${PROJECT_SOURCE_DIR})
  set_tests_properties(Subproject.TouchesNothingOfItsParent PROPERTIES LABELS slow TIMEOUT 900)
endif()
