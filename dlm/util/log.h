/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h: the one way to say something.
 *
 * A logger is an object that is handed down; a NULL logger drops everything.
 * Where lines go (stderr, syslog, the debug ring) is decided by whoever made
 * the object (fs/log.c, or a test). A line is "text key=value key=value"; text
 * that an administrator can see names the cause and the next step.
 *
 * Levels say who reads: ERR the administrator must act, WARN he may look,
 * INFO state changed, DEBUG for developers (kept in a ring only).
 */
#ifndef O2FUSE_UTIL_LOG_H
#define O2FUSE_UTIL_LOG_H

#include <stdarg.h>
#include <stdio.h>

enum log_level { LOG_LVL_ERR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

struct logger {
	/* line: complete, without newline. Any thread; must not block for long. */
	void (*emit)(struct logger *self, enum log_level level, const char *subsys,
		     const char *line);
	enum log_level max; /* lines above it are not formatted */
};

#define LOG_LINE_MAX 512

__attribute__((format(printf, 4, 5))) static inline void
log_to(struct logger *log, enum log_level level, const char *subsys, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	va_list ap;

	if (!log || level > log->max)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log->emit(log, level, subsys, line);
}

#define log_err(log, sub, ...) log_to(log, LOG_LVL_ERR, sub, __VA_ARGS__)
#define log_warn(log, sub, ...) log_to(log, LOG_LVL_WARN, sub, __VA_ARGS__)
#define log_info(log, sub, ...) log_to(log, LOG_LVL_INFO, sub, __VA_ARGS__)
#define log_debug(log, sub, ...) log_to(log, LOG_LVL_DEBUG, sub, __VA_ARGS__)

#endif
