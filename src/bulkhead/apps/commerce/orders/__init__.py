"""The orders database: orders, payments, deliveries, coupons, returns and tickets."""
