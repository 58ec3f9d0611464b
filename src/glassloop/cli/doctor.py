"""Say how glassloop fares on this machine."""
import argparse
def add_arguments(parser: argparse.ArgumentParser) -> None: ...
def main(arguments: argparse.Namespace) -> int: return 0
