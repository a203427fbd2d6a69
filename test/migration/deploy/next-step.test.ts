// Every situation that a machine on its way to CloudStack, or back, can be met in, and what is done next.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  nextStep,
  type Route,
  type Seen,
  type SeenVolume,
} from "../../../src/migration/deploy/next-step.ts";

const appliance = "appliance";
const machine = "machine";
const ids = ["boot", "data", "more"];

/** Where each of our three volumes is: `a` the appliance, a device id of the machine, `-` nowhere, `x` gone, `s` a stranger's. */
function volumesAt(places: string): (SeenVolume | undefined)[] {
  return places.split(" ").map((place, at) => {
    if (place === "x") return undefined;
    const type = place === "0" ? ("ROOT" as const) : ("DATADISK" as const);
    const volume = { id: ids[at]!, type };
    if (place === "-") return volume;
    if (place === "a") return { ...volume, instanceId: appliance, deviceId: at + 1 };
    if (place === "s") return { ...volume, instanceId: "other", instanceName: "a stranger's" };
    return { ...volume, instanceId: machine, deviceId: Number(place) };
  });
}

const ownRoot: SeenVolume = { id: "own", type: "ROOT", instanceId: machine, deviceId: 0 };

/** `state` of the machine, "" for none; `root`: its own is still `in` it, or `out`. */
function seen(state: string, places: string, root: "in" | "out" | "gone"): Seen {
  return {
    instance: state === "" ? undefined : { id: machine, name: "web", state },
    volumes: volumesAt(places),
    others: root === "in" ? [ownRoot] : [],
    ownRootId: root === "gone" ? undefined : "own",
  };
}

function told(goal: Route["goal"], what: Seen, clones = false): string {
  const step = nextStep({ goal, applianceId: appliance, volumeIds: ids, clones }, what);
  if ("obstacle" in step) return `! ${step.obstacle}`;
  const { do: verb, ...more } = step;
  return [verb, ...Object.values(more)].join(" ");
}

type Case = [state: string, places: string, root: "in" | "out" | "gone", expected: string];

const forward: Case[] = [
  ["", "a a a", "gone", "detach boot appliance"],
  ["", "- a a", "gone", "detach data appliance"],
  ["", "- - a", "gone", "detach more appliance"],
  ["", "- - -", "gone", "deploy"],
  ["Stopped", "a - -", "in", "detach boot appliance"],
  ["Stopped", "- - -", "in", "detach-own-root own machine"],
  ["Stopped", "- - -", "out", "delete own"],
  ["Stopped", "- - -", "gone", "attach boot machine 0"],
  ["Stopped", "0 - -", "gone", "attach data machine"],
  ["Stopped", "0 1 -", "gone", "attach more machine"],
  ["Stopped", "0 1 2", "gone", "start machine"],
  // 3 is kept for a CD.
  ["Stopped", "0 2 4", "gone", "start machine"],
  ["Running", "0 1 2", "gone", "nothing"],
  ["Starting", "0 1 2", "gone", "nothing"],
  // Not as we left it.
  ["Stopped", "1 - -", "gone", "detach boot machine"],
  ["Stopped", "0 - 1", "gone", "detach more machine"],
  ["Stopped", "- 1 2", "gone", "detach more machine"],
  ["Stopped", "0 2 1", "gone", "detach more machine"],
  ["Running", "0 1 -", "gone", "! web (machine) was started before it had its volumes"],
  ["Running", "- - -", "in", "! web (machine) was started before it had its volumes"],
  ["Error", "- - -", "in", "! CloudStack has web (machine) in state Error"],
  ["Destroyed", "- - -", "gone", "! CloudStack has web (machine) in state Destroyed"],
  ["", "x - -", "gone", "! the volume boot is gone"],
  ["Stopped", "0 s -", "gone", "! the volume data is attached to a stranger's (other)"],
];

const back: Case[] = [
  ["Running", "0 1 2", "gone", "stop machine"],
  ["Starting", "0 1 2", "gone", "stop machine"],
  ["Stopping", "0 1 2", "gone", "stop machine"],
  ["Stopped", "0 1 2", "gone", "detach more machine"],
  ["Stopped", "0 1 -", "gone", "detach data machine"],
  ["Stopped", "0 - -", "gone", "detach boot machine"],
  ["Stopped", "- - -", "gone", "destroy machine"],
  ["Stopped", "- - -", "in", "destroy machine"],
  ["Stopped", "- - -", "out", "destroy machine"],
  ["Error", "- - -", "in", "destroy machine"],
  ["Running", "- - -", "in", "stop machine"],
  ["Stopped", "a - -", "in", "destroy machine"],
  ["", "- - -", "out", "delete own"],
  ["Destroyed", "- - -", "out", "delete own"],
  ["", "- - -", "gone", "attach boot appliance"],
  ["Destroyed", "- - -", "gone", "attach boot appliance"],
  ["", "a - -", "gone", "attach data appliance"],
  ["", "a a -", "gone", "attach more appliance"],
  ["", "a a a", "gone", "nothing"],
  ["Destroyed", "a a a", "gone", "nothing"],
  [
    "Destroyed",
    "0 - -",
    "gone",
    "! web (machine) was destroyed with the volume boot in it; recover it in CloudStack",
  ],
  ["", "a x a", "gone", "! the volume data is gone"],
  ["Stopped", "s - -", "gone", "! the volume boot is attached to a stranger's (other)"],
];

for (const [goal, cases] of [
  ["deploy", forward],
  ["undo", back],
] as const) {
  for (const [state, places, root, expected] of cases) {
    test(`to ${goal}: machine ${state || "none"}, volumes ${places}, its own root ${root}: ${expected}`, () => {
      assert.equal(told(goal, seen(state, places, root)), expected);
    });
  }
}

const discarded: Case[] = [
  ["Running", "0 1 2", "gone", "stop machine"],
  ["Stopped", "0 1 2", "gone", "detach more machine"],
  ["Stopped", "- - -", "in", "destroy machine"],
  ["Error", "a a a", "in", "destroy machine"],
  ["", "- - -", "out", "delete own"],
  ["", "- a a", "gone", "delete boot"],
  ["", "x a a", "gone", "detach data appliance"],
  ["", "x - a", "gone", "delete data"],
  ["", "x x x", "gone", "nothing"],
  ["Destroyed", "0 - x", "gone", "delete data"],
  ["Destroyed", "0 x x", "gone", "nothing"],
  ["", "s x x", "gone", "! the volume boot is attached to a stranger's (other)"],
];

for (const [state, places, root, expected] of discarded) {
  test(`clones to be gone: machine ${state || "none"}, volumes ${places}, its own root ${root}: ${expected}`, () => {
    assert.equal(told("undo", seen(state, places, root), true), expected);
  });
}

/** What each step does to the world, if it works. */
function carryOut(world: Seen, step: ReturnType<typeof nextStep>): Seen {
  assert.ok(!("obstacle" in step), JSON.stringify(step));
  const move = (id: string, to: Partial<SeenVolume>) =>
    world.volumes.map((volume) => (volume?.id === id ? { id, type: volume.type, ...to } : volume));
  const nextDevice = () =>
    1 +
    Math.max(
      -1,
      ...world.volumes.map((volume) => (volume?.instanceId === machine ? volume.deviceId! : -1)),
    );
  switch (step.do) {
    case "detach":
      return { ...world, volumes: move(step.volumeId, {}) };
    case "attach": {
      const deviceId = step.deviceId ?? nextDevice();
      return { ...world, volumes: move(step.volumeId, { instanceId: step.to, deviceId }) };
    }
    case "deploy":
      return {
        ...world,
        instance: { id: machine, name: "web", state: "Stopped" },
        others: [ownRoot],
      };
    case "detach-own-root":
      return { ...world, others: [], ownRootId: "own" };
    case "delete":
      return { ...world, ownRootId: undefined };
    case "start":
      return { ...world, instance: { ...world.instance!, state: "Running" } };
    case "stop":
      return { ...world, instance: { ...world.instance!, state: "Stopped" } };
    case "destroy":
      assert.ok(
        world.volumes.every((volume) => volume?.instanceId !== machine),
        "ours are out",
      );
      return {
        ...world,
        instance: undefined,
        others: [],
        // One that was attached goes with it.
        ownRootId: world.others.length > 0 ? undefined : world.ownRootId,
      };
    default:
      return world;
  }
}

test("each way ends, wherever it is begun, and turning back anywhere leads to the appliance", () => {
  const forwardRoute: Route = { goal: "deploy", applianceId: appliance, volumeIds: ids };
  const backRoute: Route = { ...forwardRoute, goal: "undo" };
  const walk = (route: Route, from: Seen): Seen[] => {
    const worlds = [from];
    for (let world = from; ; worlds.push(world)) {
      const step = nextStep(route, world);
      if ("do" in step && step.do === "nothing") return worlds;
      assert.ok(worlds.length < 30, "it goes on and on");
      world = carryOut(world, step);
    }
  };
  const start = seen("", "a a a", "gone");
  const there = walk(forwardRoute, start);
  assert.equal(there.length, 1 + 3 + 1 + 2 + 3 + 1);
  const running = there.at(-1)!;
  assert.equal(running.instance?.state, "Running");
  assert.deepEqual(
    running.volumes.map((volume) => [volume?.instanceId, volume?.deviceId]),
    [0, 1, 2].map((deviceId) => [machine, deviceId]),
  );
  for (const world of there) {
    const home = walk(backRoute, world).at(-1)!;
    assert.equal(home.instance, undefined);
    assert.equal(home.ownRootId, undefined);
    assert.ok(home.volumes.every((volume) => volume?.instanceId === appliance));
    // And from every place on the way back it goes back as well.
    for (const between of walk(backRoute, world)) walk(backRoute, between);
  }
});
