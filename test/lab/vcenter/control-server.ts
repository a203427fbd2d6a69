export class ControlServer {
  port = 0;
  constructor(_lab: unknown) {}
  async listen(_h: string, _p: number) {}
  async stop() {}
}
