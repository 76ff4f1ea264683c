"""What an order means to the catalogue once it is paid for or delivered."""
