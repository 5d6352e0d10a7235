from tests.support.compiled import without_trace_log as without_trace_log
