// Charts of the report and of `rlpipe ui`, drawn by uPlot. A chart is a JSON document:
//
//   {kind: "lines", x: "environment steps", y: "mean return", label: "for who cannot see it",
//    lines: [{name, x: [...], y: [...], bold}], bands: [{name, x: [...], low: [...], high: [...]}], level: {name, value}}
//   {kind: "bars",  x: "return", y: "episodes", label, edges: [...], bars: [{name, counts: [...]}], level}
//
// `plain` leaves the legend out, `height` is in pixels, `span` is where the x axis begins and ends.
//
// Colours are CSS variables, read at every drawing, so that charts follow light, dark and print.
"use strict";

const Charts = (() => {
  const HEIGHT = 260;
  const PAPER = 640; // pixels of a chart's width there, of three plain ones beside each other
  const SERIES = 8;
  const drawn = new Set();

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (index) => css(`--s${index % SERIES}`);
  const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
  const shown = (value) => (value == null ? "" : exact.format(value));

  // Draws a chart into an element, or draws it anew there.
  function draw(element, chart) {
    element.chart?.destroy();
    element.chart = chart.kind === "bars" ? bars(element, chart) : lines(element, chart);
  }

  // Draws what the page holds: a <figure class="chart"> with its document in a script of type application/json.
  function drawAll(root = document) {
    for (const figure of root.querySelectorAll("figure.chart")) {
      const source = figure.querySelector("script");
      if (source && !figure.chart) draw(figure, JSON.parse(source.textContent));
    }
  }

  function lines(element, chart) {
    const tables = [];
    const series = [{ label: chart.x }];
    const bands = [];
    const keys = []; // one a legend entry: its name, its colour, its series, the one whose value is shown
    (chart.bands ?? []).forEach((band) => {
      tables.push([band.x, band.low], [band.x, band.high]);
      const [low, high] = [series.length, series.length + 1];
      for (let edge = 0; edge < 2; edge++) series.push({ width: 0, points: { show: false }, spanGaps: true });
      bands.push({ series: [high, low], fill: () => css("--band") });
      keys.push({ name: band.name, colour: () => css("--band"), of: [low, high], range: true });
    });
    let plain = 0;
    chart.lines.forEach((line) => {
      const own = line.bold ? () => css("--ink") : ((index) => () => colour(index))(plain++);
      tables.push([line.x, line.y]);
      keys.push({ name: line.name, colour: own, of: [series.length] });
      series.push({
        label: line.name,
        stroke: own,
        width: line.bold ? 2.5 : 1.5,
        spanGaps: true,
        points: { show: line.x.length < 2, size: 6, fill: own },
      });
    });
    const data = tables.length ? uPlot.join(tables) : [[]];
    return plot(element, chart, data, series, keys, { bands, scales: { x: { time: false, ...(chart.span && { range: chart.span }) } } });
  }

  function bars(element, chart) {
    const edges = chart.edges;
    const middles = edges.slice(1).map((edge, index) => (edge + edges[index]) / 2);
    const keys = [];
    const series = [{ label: chart.x }];
    const groups = chart.bars.length;
    chart.bars.forEach((group, index) => {
      keys.push({ name: group.name, colour: () => colour(index), of: [series.length] });
      series.push({
        label: group.name,
        stroke: () => colour(index),
        fill: () => colour(index) + (index || groups === 1 ? "aa" : "66"),
        width: 1,
        paths: uPlot.paths.bars({ size: [1, Infinity], gap: 1 }),
        points: { show: false },
      });
    });
    const range = () => [edges[0], edges[edges.length - 1]];
    const data = [middles, ...chart.bars.map((group) => group.counts)];
    return plot(element, chart, data, series, keys, {
      scales: { x: { time: false, range }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
      vertical: true,
    });
  }

  function plot(element, chart, data, series, keys, { bands, scales, vertical = false }) {
    const frame = document.createElement("div");
    frame.className = "plot";
    frame.setAttribute("role", "img");
    frame.setAttribute("aria-label", chart.label ?? `${chart.y} over ${chart.x}`);
    const legend = document.createElement("div");
    legend.className = "legend";
    element.append(frame);
    if (!chart.plain) element.append(legend);

    const axis = (label, extra) => ({
      stroke: () => css("--soft"),
      grid: { stroke: () => css("--rule"), width: 1 },
      ticks: { stroke: () => css("--rule"), width: 1, size: 4 },
      font: "12px system-ui, sans-serif",
      label,
      labelFont: "12px system-ui, sans-serif",
      labelSize: 18,
      values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : short.format(tick))),
      ...extra,
    });
    const height = () => chart.height ?? HEIGHT;
    const level = chart.level ?? null;
    const options = {
      width: Math.max(frame.clientWidth, 200),
      height: height(),
      series,
      bands: bands ?? [],
      scales: { y: { range: withLevel(level, vertical) }, ...scales },
      axes: [axis(chart.x, { size: 26 }), axis(chart.y, { size: (_, values) => widest(values) })],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: !vertical, y: false } },
      hooks: { draw: level ? [(u) => drawLevel(u, level.value, vertical)] : [], setLegend: [(u) => tell(u)] },
    };
    const u = new uPlot(options, data, frame);
    const values = [];
    keys.forEach((key) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const mark = document.createElement("i");
      const value = document.createElement("span");
      mark.style.background = key.colour();
      button.append(mark, key.name, value);
      button.addEventListener("click", () => {
        const show = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(show));
        key.of.forEach((index) => u.setSeries(index, { show }));
      });
      legend.append(button);
      values.push({ key, value, mark });
    });
    if (level) {
      const key = document.createElement("span");
      const mark = document.createElement("i");
      mark.className = "level";
      key.append(mark, `${level.name} ${shown(level.value)}`);
      legend.append(key);
    }
    const where = document.createElement("span");
    where.className = "where";
    legend.append(where);

    function tell(self) {
      const index = self.legend.idx;
      where.textContent = index == null ? "" : `at ${shown(data[0][index])} ${chart.x}`;
      for (const { key, value } of values) {
        const there = index == null ? [] : key.of.map((one) => shown(data[one]?.[index])).filter(Boolean);
        value.textContent = there.join(" – ");
      }
    }

    const resize = new ResizeObserver(() => {
      const width = frame.clientWidth;
      if (width && width !== u.width) u.setSize({ width, height: height() });
    });
    resize.observe(frame);
    const self = {
      redraw() {
        for (const { key, mark } of values) mark.style.background = key.colour();
        u.redraw(false, true);
      },
      print() {
        self.redraw();
        u.setSize({ width: chart.plain ? PAPER / 3.2 : PAPER, height: height() });
      },
      fit: () => u.setSize({ width: frame.clientWidth, height: height() }),
      destroy() {
        resize.disconnect();
        u.destroy();
        frame.remove();
        legend.remove();
        drawn.delete(self);
      },
    };
    drawn.add(self);
    return self;
  }

  // Room for all values and for the level, and a little air.
  function withLevel(level, vertical) {
    return (_, low, high) => {
      if (low == null) return [0, 1];
      if (level && !vertical) [low, high] = [Math.min(low, level.value), Math.max(high, level.value)];
      if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
      const air = (high - low) * 0.05;
      return [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
    };
  }

  function drawLevel(u, value, vertical) {
    const { left, top, width, height } = u.bbox;
    const at = Math.round(u.valToPos(value, vertical ? "x" : "y", true));
    const inside = vertical ? at >= left && at <= left + width : at >= top && at <= top + height;
    if (!inside) return;
    u.ctx.save();
    u.ctx.strokeStyle = css("--bad");
    u.ctx.lineWidth = 1.5 * uPlot.pxRatio;
    u.ctx.setLineDash([5 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
    u.ctx.beginPath();
    if (vertical) { u.ctx.moveTo(at, top); u.ctx.lineTo(at, top + height); }
    else { u.ctx.moveTo(left, at); u.ctx.lineTo(left + width, at); }
    u.ctx.stroke();
    u.ctx.restore();
  }

  const pen = document.createElement("canvas").getContext("2d");
  pen.font = "12px system-ui, sans-serif";
  const widest = (values) => 14 + Math.max(0, ...(values ?? []).map((value) => pen.measureText(value).width));

  const redrawAll = () => drawn.forEach((one) => one.redraw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    drawn.forEach((one) => one.print());
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    drawn.forEach((one) => { one.fit(); one.redraw(); });
  });
  return { draw, drawAll };
})();
