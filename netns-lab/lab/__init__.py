"""The lab: hosts as network namespaces, emulated links, tunnel systems and what is measured on them."""
