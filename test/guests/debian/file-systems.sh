#!/bin/sh
# A hook of mmdebstrap: makes the guests' file systems from the Debian that was just installed.
# file-systems.sh ROOT WORK; WORK/NAME/ holds a guest's own files, WORK/NAME.env its UUIDs and units.
set -eu
root=$1 work=$2
kernel=$(ls "$root/lib/modules")
for list in "$work"/*.env; do
  name=$(basename "$list" .env)
  . "$list"
  tree="$work/tree"
  # Without what is mounted there while the hook runs.
  cp -ax "$root" "$tree"
  rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/log/* "$tree"/tmp/* \
    "$tree"/usr/share/doc "$tree"/usr/share/locale "$tree"/etc/apt/sources.list* "$tree"/etc/resolv.conf
  cp -r "$work/$name/." "$tree/"
  sed -i "s/KERNEL/$kernel/" "$tree/boot/grub/grub.cfg"
  chmod 755 "$tree/opt/guest/report"
  for private in "$tree"/etc/keys/* "$tree"/etc/netplan/* "$tree"/etc/NetworkManager/system-connections/*; do
    [ ! -f "$private" ] || chmod 600 "$private"
  done
  mkdir -p "$tree/boot/grub/$GRUB" "$tree/boot/efi" "$tree/opt/guest/files"
  cp "$tree/usr/lib/grub/$GRUB/"*.mod "$tree/usr/lib/grub/$GRUB/"*.lst "$tree/boot/grub/$GRUB/"
  # Programs and libraries of its own stand for a guest's data.
  cp "$tree"/usr/bin/[a-m]* "$tree/opt/guest/files/"
  (cd "$tree/opt/guest/files" && sha256sum -- * > ../sums)
  for unit in report.service $UNITS; do
    from=/lib/systemd/system
    [ "$unit" = report.service ] && from=/etc/systemd/system
    ln -sf "$from/$unit" "$tree/etc/systemd/system/multi-user.target.wants/$unit"
  done
  for unit in $MASKED; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
  done
  if ! cmp -s "$work/before/etc/initramfs-tools/modules" "$tree/etc/initramfs-tools/modules"; then
    mount -t proc proc "$tree/proc"
    chroot "$tree" update-initramfs -u -k "$kernel"
    umount "$tree/proc"
  fi
  if [ -f "$tree/etc/keys/root.key" ]; then
    # An installer writes no such word: the initramfs of a running system has its root's entry without.
    sed -i 's/,initramfs$//' "$tree/etc/crypttab"
  fi
  if [ -n "$BOOT_UUID" ]; then
    mkdir "$work/boot"
    cp -a "$tree/boot/." "$work/boot/"
    mke2fs -q -F -t ext4 -U "$BOOT_UUID" -d "$work/boot" "$work/$name-boot.img" "$BOOT_KIB"K
    rm -rf "$work/boot"
    find "$tree/boot" -mindepth 1 -delete
  fi
  if [ "$name" = btrfs ]; then
    # It grows as it must, and takes its whole partition later.
    mkfs.btrfs -q -U "$FS_UUID" --shrink --rootdir "$tree" "$work/$name.img"
  else
    mke2fs -q -F -t ext4 -b 4096 -U "$FS_UUID" -d "$tree" "$work/$name.img" "$FS_KIB"K
  fi
  rm -rf "$tree"
done
printf %s "$kernel" > "$work/kernel"
