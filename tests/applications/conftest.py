from tests.support.device import on_cpu as on_cpu
