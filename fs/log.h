/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h: where log lines go.
 *
 * Lines at INFO and above go to a file (-o log=), or stderr in the foreground, or
 * syslog. All lines, debug ones too, are kept in a ring in memory that is dumped on
 * demand and when an assertion fails. Repeated lines are counted, not repeated.
 */
#ifndef O2FUSE_FS_LOG_H
#define O2FUSE_FS_LOG_H

#include <stdbool.h>
#include "dlm/util/log.h"

struct log_sink;

enum log_to { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_FILE };

/* prefix (the volume's device) starts each line of syslog. NULL on lack of memory or
 * if the file cannot be opened (errno). */
struct log_sink *log_sink_new(enum log_to to, const char *path, const char *prefix, bool verbose);
void log_sink_free(struct log_sink *s);
struct logger *log_sink_logger(struct log_sink *s);
/* The ring, oldest line first. */
void log_sink_dump(struct log_sink *s, int fd);

#endif
