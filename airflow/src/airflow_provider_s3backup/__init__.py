"""Runs s3backup in Apache Airflow: what each module is for is said at its top."""

__version__ = "0.1.0"
