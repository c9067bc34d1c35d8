/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c: sinks and the debug ring.
 *
 * One mutex: lines are short and their sinks do not block for long. The rate limit
 * counts equal texts within a second, so a storm of one message costs one line.
 */
#include "fs/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { RING_LINES = 1024, RING_WIDTH = 240 };

struct ring_line {
	struct timespec at;
	enum log_level level;
	char text[RING_WIDTH];
};

struct log_sink {
	struct logger logger;
	pthread_mutex_t mutex;
	enum log_to to;
	enum log_level shown;
	int fd;
	char prefix[128];
	unsigned next;
	char last[RING_WIDTH];
	time_t last_at;
	unsigned repeated;
	struct ring_line ring[RING_LINES];
};

static const char *level_name(enum log_level l)
{
	static const char *const names[] = { "err", "warn", "info", "debug" };

	return names[l];
}

static int priority(enum log_level l)
{
	static const int p[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

	return p[l];
}

static void put(struct log_sink *s, enum log_level level, const struct timespec *now,
		const char *text)
{
	char line[LOG_LINE_MAX + 192], when[32];
	struct tm tm;
	int n;

	if (s->to == LOG_TO_SYSLOG) {
		syslog(LOG_DAEMON | priority(level), "%s: %s", s->prefix, text);
		return;
	}
	localtime_r(&now->tv_sec, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	n = snprintf(line, sizeof(line), "%s.%03ld %s %s\n", when, now->tv_nsec / 1000000,
		     level_name(level), text);
	if (n > (int)sizeof(line) - 1)
		n = (int)sizeof(line) - 1;
	if (write(s->fd, line, (size_t)n) < 0)
		return; /* nowhere left to say so */
}

static void flush_repeated(struct log_sink *s, const struct timespec *now)
{
	char text[64];

	if (!s->repeated)
		return;
	snprintf(text, sizeof(text), "log: last line repeated times=%u", s->repeated);
	s->repeated = 0;
	put(s, LOG_LVL_INFO, now, text);
}

static void emit(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	struct log_sink *s = (struct log_sink *)((char *)self - offsetof(struct log_sink, logger));
	char text[LOG_LINE_MAX + 32];
	struct ring_line *r;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(text, sizeof(text), "%s: %s", subsys, line);
	pthread_mutex_lock(&s->mutex);
	r = &s->ring[s->next++ % RING_LINES];
	r->at = now;
	r->level = level;
	snprintf(r->text, sizeof(r->text), "%.*s", (int)sizeof(r->text) - 1, text);
	if (level <= s->shown) {
		if (now.tv_sec == s->last_at && !strncmp(s->last, text, sizeof(s->last) - 1)) {
			s->repeated++;
		} else {
			flush_repeated(s, &now);
			put(s, level, &now, text);
			snprintf(s->last, sizeof(s->last), "%.*s", (int)sizeof(s->last) - 1, text);
			s->last_at = now.tv_sec;
		}
	}
	pthread_mutex_unlock(&s->mutex);
}

struct log_sink *log_sink_new(enum log_to to, const char *path, const char *prefix, bool verbose)
{
	struct log_sink *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->to = to;
	s->fd = STDERR_FILENO;
	s->shown = verbose ? LOG_LVL_DEBUG : LOG_LVL_INFO;
	s->logger.emit = emit;
	s->logger.max = LOG_LVL_DEBUG;
	snprintf(s->prefix, sizeof(s->prefix), "%s", prefix);
	pthread_mutex_init(&s->mutex, NULL);
	if (to == LOG_TO_FILE) {
		s->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
		if (s->fd < 0) {
			int err = errno;

			free(s);
			errno = err;
			return NULL;
		}
	}
	return s;
}

void log_sink_free(struct log_sink *s)
{
	if (!s)
		return;
	if (s->to == LOG_TO_FILE)
		close(s->fd);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

struct logger *log_sink_logger(struct log_sink *s)
{
	return s ? &s->logger : NULL;
}

void log_sink_dump(struct log_sink *s, int fd)
{
	unsigned from, n;

	pthread_mutex_lock(&s->mutex);
	n = s->next < RING_LINES ? s->next : RING_LINES;
	from = s->next - n;
	for (unsigned i = 0; i < n; i++) {
		const struct ring_line *r = &s->ring[(from + i) % RING_LINES];

		dprintf(fd, "%lld.%03ld %s %s\n", (long long)r->at.tv_sec, r->at.tv_nsec / 1000000,
			level_name(r->level), r->text);
	}
	pthread_mutex_unlock(&s->mutex);
}
