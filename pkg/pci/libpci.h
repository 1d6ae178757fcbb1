/* SPDX-License-Identifier: Apache-2.0 */
/* libpci - the library's header, whose name our own hides.  For scan.c only. */
#pragma once
#pragma GCC system_header
#include_next <pci/pci.h>
