"""Where jobs run: one file an executor, behind `nas.executors.protocol`."""
