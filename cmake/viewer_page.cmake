# The viewer's page, put together beside the program and installed with it: the page's own files and OpenSeadragon, which
# comes from npm by way of the cache folder. Without it everything builds; 'vtissue view' then says what is missing.
set(VTISSUE_PAGE "${PROJECT_BINARY_DIR}/share/vtissue/viewer")
if(NOT OPENSEADRAGON_ROOT)
  execute_process(COMMAND "${PROJECT_SOURCE_DIR}/tools/get-openseadragon.sh"
                  OUTPUT_VARIABLE OPENSEADRAGON_FOUND OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_VARIABLE missing RESULT_VARIABLE failed)
  if(failed)
    message(STATUS "the viewer's page lacks OpenSeadragon: ${missing}")
  endif()
else()
  set(OPENSEADRAGON_FOUND "${OPENSEADRAGON_ROOT}")
endif()

file(GLOB page_files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/viewer/page/*")
set(page_outputs)
foreach(file IN LISTS page_files)
  get_filename_component(name "${file}" NAME)
  add_custom_command(OUTPUT "${VTISSUE_PAGE}/${name}" DEPENDS "${file}"
                     COMMAND "${CMAKE_COMMAND}" -E copy "${file}" "${VTISSUE_PAGE}/${name}" VERBATIM)
  list(APPEND page_outputs "${VTISSUE_PAGE}/${name}")
endforeach()
if(OPENSEADRAGON_FOUND AND EXISTS "${OPENSEADRAGON_FOUND}/openseadragon.min.js")
  configure_file("${OPENSEADRAGON_FOUND}/openseadragon.min.js" "${VTISSUE_PAGE}/openseadragon.min.js" COPYONLY)
  configure_file("${OPENSEADRAGON_FOUND}/LICENSE.txt" "${VTISSUE_PAGE}/openseadragon.LICENSE.txt" COPYONLY)
endif()
add_custom_target(vtissue_viewer_page ALL DEPENDS ${page_outputs})
add_dependencies(vtissue_viewer vtissue_viewer_page)

include(GNUInstallDirs)
install(DIRECTORY "${VTISSUE_PAGE}/" DESTINATION "${CMAKE_INSTALL_DATADIR}/vtissue/viewer")
