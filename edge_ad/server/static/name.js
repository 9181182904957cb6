// The name of who changes something, for audit entries: that of the login, or else what is remembered in this browser.

const user = document.body.dataset.user;

export const myName = () => user || (localStorage.getItem("name") ?? "");
export const rememberName = (name) => user || localStorage.setItem("name", name);
