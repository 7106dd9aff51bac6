(() => {
  const source = document.getElementById("curves");
  const target = document.getElementById("chart");
  if (!source || !target) return;
  const { quantiles, curves } = JSON.parse(source.textContent);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = ["#1f77a8", "#d1495b", "#2f855a", "#8e4ec6", "#b7791f", "#3aa6a0", "#7a7f86", "#c2577e"];
  const nines = quantiles.map(q => -Math.log10(1 - q));
  const name = x => {
    const p = 100 * (1 - Math.pow(10, -x));
    return "P" + (x === 0 ? "0" : p.toFixed(Math.max(0, Math.ceil(x) - 2)));
  };
  const size = () => ({ width: Math.max(320, target.clientWidth), height: 330 });
  const axis = { stroke: () => css("--soft"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false } };
  const known = Math.max(...curves.flatMap(c => c.ms.map((v, i) => (v === null ? 0 : nines[i]))), 1);
  const plot = new uPlot({
    ...size(),
    scales: { x: { time: false, range: [0, Math.min(3, known)] }, y: { range: (u, low, high) => [0, (high || 1) * 1.06] } },
    axes: [
      { ...axis, splits: () => [0, 0.30103, 1, 1.30103, 2, 2.30103, 3].filter(x => x <= known + 0.01), values: (u, xs) => xs.map(name) },
      { ...axis, size: 64, values: (u, ys) => ys.map(y => y + " ms") },
    ],
    series: [
      { label: "quantile", value: (u, x) => (x === null || x === undefined ? "" : name(x)) },
      ...curves.map((c, i) => ({
        label: `${c.variant} (${c.requests.toLocaleString("en")} requests)`,
        stroke: palette[i % palette.length], width: 2, points: { show: false },
        value: (u, y) => (y === null || y === undefined ? "–" : y.toPrecision(3) + " ms"),
      })),
    ],
  }, [nines, ...curves.map(c => c.ms)], target);
  window.addEventListener("resize", () => plot.setSize(size()));
})();
