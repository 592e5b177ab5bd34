"""What drives and watches the system: schedules, explorer, scenarios, watcher, reports, command line."""
