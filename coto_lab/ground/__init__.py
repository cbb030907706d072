"""What everything stands on: numbers, files, random numbers, the device."""
