# Install rules and the exported target prosa::prosa.
include(CMakePackageConfigHelpers)
