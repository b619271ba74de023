"""The networks: frozen backbone with adapters, classifiers, gates."""
