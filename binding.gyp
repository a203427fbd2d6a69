{
  "targets": [
    {
      "target_name": "migratekit",
      "sources": [
        "native/addon.cc",
        "native/runner.cc",
        "native/copier.cc",
        "native/copier_tune.cc",
        "native/tuner.cc",
        "native/loop.cc",
        "native/loop_tasks.cc",
        "native/loop_windows.cc",
        "native/loop_zeroes.cc",
        "native/loop_failures.cc",
        "native/durability.cc",
        "native/events.cc",
        "native/side_health.cc",
        "native/work_list.cc",
        "native/connection.cc",
        "native/buffer_pool.cc",
        "native/rate_limit.cc",
        "native/relay.cc",
        "native/write_deadline.cc",
        "native/zero_proof.cc",
        "native/zero_scan.cc",
        "native/sha256.cc",
        "native/lookup.cc",
        "native/probe.cc",
        "native/silence.cc",
        "native/glibc_floor.c"
      ],
      "include_dirs": ["node_modules/node-addon-api"],
      "defines": ["NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS"],
      "cflags": ["-Wall", "-Wextra", "<!@(pkg-config --cflags libnbd)"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-fvisibility=hidden"],
      "libraries": ["<!@(pkg-config --libs libnbd)"],
      "ldflags": ["-Wl,-z,nodelete", "-static-libstdc++", "-static-libgcc"]
    }
  ]
}
