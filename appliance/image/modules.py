#!/usr/bin/env python3
"""Copies the kernel modules that a box needs, with all they depend on, uncompressed for the first stage.

    modules.py FROM TO        # e.g. modules.py debs/usr/lib/modules/7.3.4 initrd/lib/modules/7.3.4

A box has a disk, a network and a watchdog: no screen to accelerate, no sound, no radio.
"""

import fnmatch
import lzma
import shutil
import sys
from pathlib import Path

WANTED = """
    drivers/virtio/* drivers/block/virtio_blk drivers/net/virtio_net drivers/net/net_failover drivers/char/hw_random/*
    drivers/nvme/host/nvme drivers/ata/ahci* drivers/scsi/sd_mod drivers/usb/storage/* drivers/usb/host/[xeo]hci*
    drivers/usb/dwc2/* drivers/usb/dwc3/*
    drivers/mmc/host/sdhci* drivers/mmc/host/bcm2835* drivers/mmc/host/dw_mmc* drivers/mmc/core/mmc_block
    drivers/clk/*rp1* drivers/clk/bcm/* drivers/misc/rp1/* drivers/pinctrl/*rp1* drivers/pinctrl/bcm/* drivers/irqchip/*bcm*
    drivers/reset/*rasp* drivers/reset/*brcm* drivers/gpio/*rasp* drivers/gpio/*brcm* drivers/firmware/*rasp*
    drivers/thermal/broadcom/* drivers/mfd/bcm2835* drivers/pmdomain/bcm/* drivers/soc/bcm/* drivers/mailbox/bcm*
    drivers/hwmon/raspberry* drivers/cpufreq/rasp* drivers/pwm/pwm-*rp1* drivers/regulator/gpio-reg* drivers/regulator/fixed*
    drivers/phy/broadcom/* drivers/pci/controller/*
    drivers/net/ethernet/broadcom/genet/* drivers/net/ethernet/cadence/* drivers/net/ethernet/realtek/*
    drivers/net/ethernet/intel/e1000*/* drivers/net/ethernet/intel/ig[bc]/* drivers/net/ethernet/stmicro/*
    drivers/net/phy/* drivers/net/mdio/* drivers/net/usb/*
    drivers/watchdog/bcm2835* drivers/watchdog/sbsa* drivers/watchdog/softdog drivers/watchdog/i6300esb
    drivers/rtc/*pl031* drivers/rtc/*rpi* drivers/leds/leds-gpio
    fs/fat/* fs/nls/nls_cp437 fs/nls/nls_ascii fs/nls/nls_iso8859-1 fs/nls/nls_utf8 fs/ext4/* fs/squashfs/* fs/overlayfs/* fs/efivarfs/*
    drivers/net/ethernet/intel/i40e/* drivers/net/ethernet/broadcom/tg3 drivers/net/ethernet/atheros/*
    drivers/watchdog/iTCO* drivers/watchdog/sp5100* drivers/ata/ata_piix drivers/rtc/rtc-cmos drivers/mmc/host/rtsx*
    arch/*/crypto/* lib/crypto/* crypto/*crc32* net/packet/* net/ipv6/ipv6 net/ipv4/tcp_bbr net/sched/sch_fq
""".split()


def dependencies(source: Path) -> dict[str, list[str]]:
    """What each module needs, by path below the folder of modules."""
    lines = (source / "modules.dep").read_text().splitlines()
    return {module: needed.split() for module, needed in (line.split(":") for line in lines)}


def selected(needs: dict[str, list[str]]) -> set[str]:
    chosen = set()
    waiting = [module for module in needs for one in WANTED if fnmatch.fnmatch(module, f"kernel/{one}.ko*")]
    while waiting:
        module = waiting.pop()
        if module not in chosen:
            chosen.add(module)
            waiting += needs[module]
    return chosen


def main(source: Path, target: Path) -> None:
    chosen = selected(dependencies(source))
    for module in sorted(chosen):
        # busybox loads no compressed module, and the whole is compressed anyway.
        copy = target / module.removesuffix(".xz")
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = (source / module).read_bytes()
        copy.write_bytes(lzma.decompress(content) if module.endswith(".xz") else content)
    for table in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(source / table, target / table)
    print(f"{len(chosen)} modules")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
