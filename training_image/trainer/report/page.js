Charts.drawAll();

// A film begins when it is asked for, and is a still picture otherwise.
for (const film of document.querySelectorAll(".film")) {
  const picture = film.querySelector("img");
  const button = film.querySelector("button");
  const still = picture.src;
  button.addEventListener("click", () => {
    const plays = picture.src !== still;
    picture.src = plays ? still : picture.dataset.film;
    button.textContent = plays ? "Play" : "Stop";
  });
}
