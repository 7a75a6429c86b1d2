"""Detection of this machine as a host: what /proc, /sys and a few programs tell of it.

    cpu, memory, kernel, system     detect.system
    PCI, USB, network, disks, GPUs  detect.devices
    container runtimes              detect.runtimes
    a detector of the user's own    detect.programs

Nothing is changed, and nothing needs privileges: what may not be read, or is not there, is left out.
"""
